"""The console: a page on the admin address that shows what the agent does, and why."""

from spoa.console.routes import Console, Ground

__all__ = ["Console", "Ground"]
