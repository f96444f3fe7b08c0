"""`starterkit ui` where it cannot start."""

import socket


def test_a_taken_port_is_told_with_the_option_that_names_another(run, repository):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run(repository, "ui", "--port", port)
    assert done.returncode == 2
    what, mend = done.stderr.splitlines()[-2:]
    assert what == f"error: 127.0.0.1 port {port} cannot be had: Address already in use."
    assert "--port" in mend
    assert "KIT_SERVING__PORT" not in mend  # which is the API's
