"""p2pqg: peer-to-peer learning on simulated networks."""
