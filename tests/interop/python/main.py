"""A client in Python: arguments, features and lines are those of ../go/main.go."""

import os
import sys
import threading
import time

from rocketmq.client import Message, Producer, PullConsumer, PushConsumer
from rocketmq.ffi import MessageModel

ARGS = dict(arg.split("=", 1) for arg in sys.argv[1:])
WITHIN_S = 60
SETTLE_S = 1.5
STATUSES = ["SEND_OK", "FLUSH_DISK_TIMEOUT", "FLUSH_SLAVE_TIMEOUT", "SLAVE_NOT_AVAILABLE"]


def say(word, *fields):
    texts = [str(field).replace("\t", " ").replace("\n", " ") for field in fields]
    line = "\t".join([word, str(int(time.time() * 1000)), *texts]) + "\n"
    # One write: the library has threads of its own.
    os.write(1, line.encode())


def text(value):
    return value.decode() if isinstance(value, bytes) else str(value)


class Feature:
    def __init__(self, name):
        self.name = name
        self.topic = f"{ARGS['topic']}-{name}"
        self.count = 0
        self.lock = threading.Lock()
        self.open = []

    def prepare(self, client):
        client.set_namesrv_addr(ARGS["namesrv"])
        if "access_key" in ARGS:
            client.set_session_credentials(ARGS["access_key"], ARGS["secret_key"], "")
        self.open.append(client)

    def producer(self):
        producer = Producer(f"{ARGS['group']}-{self.name}-send")
        self.prepare(producer)
        producer.start()
        return producer

    def consumer(self, role, tags, listen, **more):
        # Groups of one process are told apart by their names; members of one need processes of their own.
        consumer = PushConsumer(f"{ARGS['group']}-{self.name}-read", **more)
        self.prepare(consumer)
        consumer.set_instance_name(f"{ARGS['instance']}-{self.name}-{role}")
        consumer.subscribe(self.topic, listen, tags)
        consumer.start()
        return consumer

    def got(self, message):
        say("got", self.name, text(message.keys), text(message.tags), text(message.body), message.reconsume_times,
            text(message["color"]))
        with self.lock:
            self.count += 1

    def message(self, number):
        message = Message(self.topic)
        message.set_keys(f"{self.name}{number}")
        message.set_tags(f"Tag{number % 2}")
        message.set_body(f"body {number}")
        message.set_property("color", f"color {number}")
        return message

    def sent(self, key, send):
        try:
            say("sent", self.name, key, STATUSES[send().status])
        except Exception as error:
            say("error", self.name, f"send {key}: {error}")

    def send_all(self, count, edit=lambda message, number: None):
        """Sends so many, one after the other."""
        producer = self.producer()
        for number in range(count):
            message = self.message(number)
            edit(message, number)
            self.sent(f"{self.name}{number}", lambda: producer.send_sync(message))

    def wait(self, count):
        """Waits until it was given so much, and then whether more comes."""
        end = time.time() + WITHIN_S
        while self.count < count and time.time() < end:
            time.sleep(0.01)
        if self.count < count:
            say("error", self.name, f"not everything within {WITHIN_S} s")
        time.sleep(SETTLE_S)


def send(f):
    f.consumer("read", "Tag0", f.got)
    f.send_all(6)
    f.wait(3)


def oneway(f):
    f.consumer("read", "*", f.got)
    producer = f.producer()
    for number in range(3):
        producer.send_oneway(f.message(number))
    f.wait(3)


def batch(f):
    f.consumer("read", "*", f.got)
    producer = f.producer()
    f.sent("all", lambda: producer.send_batch([f.message(number) for number in range(3)]))
    f.wait(3)


def delayed(f):
    f.consumer("read", "*", f.got)
    f.send_all(3, lambda message, number: message.set_delay_time_level(1 + number))
    f.wait(3)


def ordered(f):
    f.consumer("read", "*", f.got, orderly=True)
    producer = f.producer()
    for number in range(12):
        f.sent(f"{f.name}{number}", lambda: producer.send_orderly(f.message(number), number % 3))
    f.wait(12)


def broadcast(f):
    f.consumer("one", "*", f.got, message_model=MessageModel.BROADCASTING)
    f.send_all(3)
    f.wait(3)


def pull(f):
    f.send_all(4)
    consumer = PullConsumer(f"{ARGS['group']}-{f.name}-read")
    f.prepare(consumer)
    consumer.start()
    end = time.time() + WITHIN_S
    while f.count < 4 and time.time() < end:
        for message in consumer.pull(f.topic):
            f.got(message)


def retry(f):
    def listen(message):
        f.got(message)
        if message.reconsume_times < 2:
            raise ValueError("give it back")

    f.consumer("read", "*", listen)
    f.send_all(2)
    f.wait(6)


def denied(f):
    f.send_all(1)


FEATURES = {f.__name__: f for f in [send, oneway, batch, delayed, ordered, broadcast, pull, retry, denied]}


def run(feature):
    try:
        FEATURES[feature.name](feature)
    except Exception as error:
        say("error", feature.name, error)


def main():
    features = [Feature(name) for name in ARGS["features"].split(",")]
    threads = [threading.Thread(target=run, args=(feature,)) for feature in features]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    say("left")
    # The library's own end may wait for a long pull of another client in this process.
    os._exit(0)


main()
