"""Commands from the cloud: the only user of signatures."""
