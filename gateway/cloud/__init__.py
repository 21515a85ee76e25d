"""The north: events, the journal that keeps them, the uplink that sends them."""
