"""Lines that are polled: the schedule, the requests, the readings, the writes."""
