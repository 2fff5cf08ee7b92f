"""What every judge of ownership shares: the proofs that an earlier owner has let go or is silent,
and how long a lease certainly holds. Synchronous; time is handed in (docs/decisions/0006)."""
