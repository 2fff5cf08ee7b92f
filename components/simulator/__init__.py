"""A protocol-faithful Discord in memory: REST v10, gateway and a control API on one port."""
