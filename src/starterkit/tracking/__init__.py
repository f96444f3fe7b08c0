"""Runs, versions and their files, kept in MLflow. The one room that knows it."""
