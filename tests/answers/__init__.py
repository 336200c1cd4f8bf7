"""Answers to the exercises, a module for each chapter: right ones, and wrong ones with their hint.

RIGHT: number -> an answer found another way than the book's own solution.
WRONG: (number, answer, part of the hint it must get).
"""

from importlib import import_module
from pkgutil import iter_modules

chapters = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
RIGHT = {number: answer for chapter in chapters for number, answer in chapter.RIGHT.items()}
WRONG = [row for chapter in chapters for row in chapter.WRONG]
