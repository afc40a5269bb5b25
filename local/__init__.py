"""What `make up` and its neighbours run on one machine."""
