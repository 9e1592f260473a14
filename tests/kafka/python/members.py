"""Hosts members of groups: what it is asked and what it says, see members.rs. A client's program gives `serve` its Member."""

import os
import queue
import sys
import threading
import traceback

_lock = threading.Lock()


def say(*words):
    with _lock:
        print(*words, flush=True)


class Refused(Exception):
    """A rebalance is in the way of a commit."""


class Host(threading.Thread):
    """One member, which lives in a thread of its own."""

    def __init__(self, make, bootstrap, name, settings):
        super().__init__(daemon=True)
        self.make, self.bootstrap, self.name, self.settings = make, bootstrap, name, settings
        self.asked = queue.SimpleQueue()

    def tell(self, what, parts):
        say(self.name, what, ",".join(f"{topic}:{partition}" for topic, partition in parts))

    def run(self):
        try:
            self.live()
        except BaseException as error:
            traceback.print_exc()
            say(self.name, "failed", repr(error))

    def live(self):
        member = self.make(self.bootstrap, self.settings, self.tell)
        while True:
            for topic, partition, offset, value in member.poll():
                say(self.name, "read", topic, partition, offset, value.decode())
            while not self.asked.empty():
                words = self.asked.get()
                if words[0] == "leave":
                    member.close()
                    say(self.name, "left")
                    return
                try:
                    member.commit(*((words[2], int(words[3]), int(words[4])) if len(words) > 2 else ()))
                    say(self.name, "committed")
                except Refused as error:
                    say(self.name, "refused", error)


def serve(make):
    hosts = {}
    for line in sys.stdin:
        words = line.split()
        if words[0] == "join":
            settings = dict(word.split("=", 1) for word in words[2:])
            hosts[words[1]] = Host(make, sys.argv[1], words[1], settings)
            hosts[words[1]].start()
        else:
            hosts[words[1]].asked.put(words)
    # Without a word to anybody.
    os._exit(0)
