"""The scripts as typed calls: a function for each in ``sessions`` and ``index``. ``status`` reads what they answer."""
