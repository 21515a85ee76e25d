"""Events, the journal that keeps them, and the uplink that sends them to the cloud."""
