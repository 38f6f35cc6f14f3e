"""The app's own flow, driven from outside. Never changes how it works."""
