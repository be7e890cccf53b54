"""Pictures looked at and marked: marks · session · html · pages · widgets · browser · browsers · labs."""
