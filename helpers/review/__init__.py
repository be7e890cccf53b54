"""Pictures looked at and marked: marks · rows · session · pages · widgets · browser · browsers."""
