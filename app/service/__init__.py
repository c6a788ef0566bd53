"""REST v1: studies, sessions, prompts, masks, exports, jobs, models, health."""
