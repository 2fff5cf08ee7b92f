"""Effects: from the outbox to Discord, once.

`lanes` keeps the order, `executors` says how each kind is done, `settlement` how one in doubt is
settled, `rest` is the only way out to Discord, with the gate where bytes leave.
"""
