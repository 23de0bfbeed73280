"""The web app of a reader study: pages rendered on the server, a little plain JavaScript, no outside request."""
