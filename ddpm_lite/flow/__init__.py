"""The chain in continuous time: solvers of its flow, and the likelihood that the flow gives."""
