"""A compose project with a name, an image and a port of its own."""

import contextlib
import os
import secrets
import socket
import subprocess

from engine import SERVICE, CommandFailed, run


class Project:
    """A compose project of its own: name, image and port."""

    def __init__(self, override, *files, image=None, **variables):
        self.name = f"x-pro-image-test-{secrets.token_hex(4)}"
        self.image = image or f"{self.name}:latest"
        self.port = free_port()
        self.override = override
        files = (*(files or ("docker-compose.yml",)), str(override))
        self._files = [word for file in files for word in ("-f", file)]
        ours = {"XPRO_IMAGE": self.image, "XPRO_PORT": str(self.port), **variables}
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("XPRO_", "COMPOSE_"))}
        self.environment = {**kept, **ours, "BUILDKIT_PROGRESS": "plain"}

    def command(self, *arguments):
        empty = ("--env-file", os.devnull)
        return ("docker", "compose", "-p", self.name, *empty, *self._files, *arguments)

    def compose(self, *arguments, timeout_s=120, **options):
        options.setdefault("env", self.environment)
        return run(*self.command(*arguments), timeout_s=timeout_s, **options)

    def container(self, form):
        identity = self.compose("ps", "--all", "--quiet", SERVICE)
        return run("docker", "inspect", "--format", form, identity)

    def logs(self):
        with contextlib.suppress(CommandFailed, subprocess.TimeoutExpired):
            return self.compose("logs", "--tail", "30")
        return ""

    def leftovers(self):
        label = f"label=com.docker.compose.project={self.name}"
        kinds = {"containers": "ps --all", "networks": "network ls", "volumes": "volume ls"}
        return {
            kind: run("docker", *command.split(), "--quiet", "--filter", label).split()
            for kind, command in kinds.items()
        }

    def remove(self):
        with contextlib.suppress(CommandFailed, subprocess.TimeoutExpired):
            self.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")
        self.remove_image()

    def remove_image(self):
        with contextlib.suppress(CommandFailed, subprocess.TimeoutExpired):
            run("docker", "image", "rm", self.image, stderr=subprocess.DEVNULL)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
