"""What Kafka's durable reader does with records of a partition that is still being taken over."""

from types import SimpleNamespace

from aiokafka import TopicPartition

from postoffice.durable import Durable
from postoffice.transports.kafka_durable import KafkaDurableTransport
from postoffice.transports.kafka_offsets import Place


def test_a_record_that_comes_before_its_partition_is_taken_over_is_left_for_later():
    """The driver may hand it out early; taking over ends by seeking to where the partition is read on."""
    delivered: list[int] = []
    transport = KafkaDurableTransport("kafka://127.0.0.1:9092", durable=Durable(service="billing"))
    transport._deliver = lambda delivery: delivered.append(1)
    orders, record = TopicPartition("orders", 0), SimpleNamespace(topic="orders", offset=0, headers=(), value=b"{}")
    transport._take(orders, [record])
    assert delivered == []
    transport.places[orders] = Place(0)
    assert transport.places[orders].next == 0, "nothing was counted as read"
