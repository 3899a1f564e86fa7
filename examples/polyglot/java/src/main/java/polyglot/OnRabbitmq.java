package polyglot;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.rabbitmq.client.AMQP.BasicProperties;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.Return;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;

/** RabbitMQ with its Java client. A topic is a direct exchange, the routing key is the partition; attributes are headers cloudEvents_name. */
final class OnRabbitmq implements Broker {
  /** RabbitMQ tells nobody how many partitions a topic has, so producers and services agree on it. This is what a topic has that says nothing. */
  private static final int PARTITIONS = 4;

  private final ConnectionFactory factory = new ConnectionFactory();

  OnRabbitmq(String url) throws Exception {
    factory.setUri(url);
  }

  /** The number of partitions is in the name of this exchange: where we are wrong about it, the server says that there is none. */
  private static String foreign(String topic) {
    return topic + "__foreign__p" + PARTITIONS;
  }

  @Override
  public void produce(String topic, List<Event> events, Stored stored) throws Exception {
    try (Connection connection = factory.newConnection(); Channel channel = connection.createChannel()) {
      channel.exchangeDeclarePassive(foreign(topic));
      channel.confirmSelect();
      // What no queue takes comes back before it is confirmed.
      BlockingQueue<Return> returned = new LinkedBlockingQueue<>();
      channel.addReturnListener(returned::add);
      for (Event event : events) {
        int partition = Partition.of(event.key(), PARTITIONS);
        Map<String, Object> headers = new HashMap<>(event.headers());
        event.attributes().forEach((name, value) -> headers.put("cloudEvents_" + name, value));
        headers.put("traceparent", event.traceparent());
        BasicProperties properties =
            new BasicProperties.Builder().contentType(event.contentType()).deliveryMode(2).headers(headers).build();
        channel.basicPublish(topic, String.valueOf(partition), true, properties, event.body().getBytes(UTF_8));
        channel.waitForConfirmsOrDie(30_000);
        if (!returned.isEmpty()) throw new IllegalStateException(event.attributes().get("id") + " was not stored: no queue takes it");
        stored.stored(event, partition);
      }
    }
  }

  /** With a queue of its own, bound to all partitions and to what was sent with any other routing key. */
  @Override
  public void consume(String topic, String reader, int count, Runnable ready, Handler handler) throws Exception {
    try (Connection connection = factory.newConnection(); Channel channel = connection.createChannel()) {
      channel.exchangeDeclarePassive(foreign(topic));
      channel.queueDeclare(reader, true, false, false, Map.of("x-queue-type", "quorum"));
      for (int partition = 0; partition < PARTITIONS; partition++) channel.queueBind(reader, topic, String.valueOf(partition));
      channel.queueBind(reader, foreign(topic), "");
      channel.basicQos(100);
      BlockingQueue<Delivery> deliveries = new LinkedBlockingQueue<>();
      channel.basicConsume(reader, false, (tag, delivery) -> deliveries.add(delivery), tag -> {});
      ready.run();
      for (; count > 0; count--) {
        Delivery delivery = deliveries.take();
        Map<String, String> names = new LinkedHashMap<>();
        Map<String, Object> headers = delivery.getProperties().getHeaders();
        if (headers != null) headers.forEach((name, value) -> names.put(name, String.valueOf(value))); // others may send numbers
        String key = delivery.getEnvelope().getRoutingKey();
        int partition = key.matches("\\d+") ? Integer.parseInt(key) : 0;
        String contentType = delivery.getProperties().getContentType();
        Received message = new Received(partition, null, contentType, names, new String(delivery.getBody(), UTF_8));
        handler.handle(message.read("cloudEvents_", ""));
        channel.basicAck(delivery.getEnvelope().getDeliveryTag(), false);
      }
    }
  }
}
