"""The part of the repository that is yours. Everything the kit needs to know about a project is its `problem`."""

from example_project.problem import problem

__all__ = ["problem"]
