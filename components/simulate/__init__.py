"""Whole clusters of the ownership machines in virtual time: a tool, not a component.

One seed is one run: everything that happens follows from it (`loop.Loop`).
"""
