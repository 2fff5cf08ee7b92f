"""What modbot does, one module a policy, found by listing this folder (`registry`)."""
