"""Pictures looked at and marked: marks · rows · session · html · pages · widgets · browser · browsers."""
