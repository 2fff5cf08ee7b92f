"""The bus as components use it: one connection, appends with answers, leases, buckets, streams.

Nothing here retries by itself: who sends decides what a failure means (design.md, "Delivery").
"""
