"""From a judged version to the champion, and back: one at a time, written down before and after."""
