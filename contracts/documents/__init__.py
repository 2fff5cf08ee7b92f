"""What is generated from the contracts: schemas, the AsyncAPI document, the server's files.

No component imports this at run time; ``python -m contracts.generate`` writes it all.
"""
