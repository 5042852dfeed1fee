"""The adapter: takes a container's metrics in the form it puts them out, and shows them in the form others expect."""
