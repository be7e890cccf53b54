"""Pictures looked at and marked: rows · session (marks, undo) · mark_file · pages · widgets · browser · browsers."""
