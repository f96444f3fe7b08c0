"""From a file of the user's to a project that runs: look at the columns, guess what they mean, write it down."""
