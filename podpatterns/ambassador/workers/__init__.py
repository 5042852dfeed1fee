"""Several processes for one ambassador, for more than one core.

The parent has the admin endpoint, the configuration and every listening socket; it serves no request itself. For each
address it opens one socket for each worker, and the system spreads connections among them (SO_REUSEPORT). Because the
sockets stay open in the parent, who waits in the queue of a worker that dies is served by the one that takes its place.

Workers are forked by a small process, the forker, which the parent forks once, when it starts: at that time there are
no threads and no clients yet, and whatever is imported is shared with all workers.

Parent and worker talk over a socket: configurations and admin requests go down, figures come up, and are added up when
somebody asks. The parent keeps an ambassador that is never opened (`Master`), with routes and versions like those of
the workers, and writes the sums into it: so status, metrics and admin page are those of a single process.

A worker sees the end of its parent as the end of that socket, and drains.
"""
