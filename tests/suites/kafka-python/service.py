"""What the suite starts brokers with, which its archive leaves out: here there is one already."""


class ExternalService:
    def __init__(self, host, port):
        self.host, self.port = host, port

    def open(self):
        """It serves."""

    def stop(self):
        """It goes on."""

    def dump_logs(self):
        """Its log is kept elsewhere."""


class SpawnedService:
    def __init__(self, *_, **__):
        raise RuntimeError("KAFKA_URI says which broker to use")
