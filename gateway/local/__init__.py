"""For people on site: the page and the control socket."""
