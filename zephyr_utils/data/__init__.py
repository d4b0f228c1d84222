"""Records in the schemas of the field: reading, checking, filtering and saving dialogues, feedback
and preferences.
"""
