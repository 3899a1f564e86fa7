package polyglot;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.eclipse.paho.mqttv5.client.IMqttToken;
import org.eclipse.paho.mqttv5.client.MqttAsyncClient;
import org.eclipse.paho.mqttv5.client.MqttCallback;
import org.eclipse.paho.mqttv5.client.MqttConnectionOptions;
import org.eclipse.paho.mqttv5.client.MqttDisconnectResponse;
import org.eclipse.paho.mqttv5.client.persist.MemoryPersistence;
import org.eclipse.paho.mqttv5.common.MqttException;
import org.eclipse.paho.mqttv5.common.MqttMessage;
import org.eclipse.paho.mqttv5.common.packet.MqttProperties;
import org.eclipse.paho.mqttv5.common.packet.UserProperty;

/** MQTT 5 with paho. A partition is a topic, orders/placed/@0 and so on; attributes are user properties by their own names. */
final class OnMqtt implements Broker {
  private static final long DAY = 86_400;
  private final String address;

  OnMqtt(String url) {
    address = url.replaceFirst("^mqtt:", "tcp:");
  }

  /** A message and where it was published. */
  private record Arrived(String topic, MqttMessage message) {}

  /** A connection, and what arrives on it. Messages wait there and are acknowledged by hand, when they are handled. */
  private final class Link implements AutoCloseable {
    final BlockingQueue<Arrived> arrived = new LinkedBlockingQueue<>();
    final MqttAsyncClient client;

    Link(String name, long sessionSeconds) throws MqttException {
      client = new MqttAsyncClient(address, name, new MemoryPersistence());
      client.setManualAcks(true);
      client.setCallback(intoQueue(arrived));
      MqttConnectionOptions options = new MqttConnectionOptions();
      options.setCleanStart(sessionSeconds == 0);
      options.setSessionExpiryInterval(sessionSeconds);
      client.connect(options).waitForCompletion();
    }

    /** A retained record has the number of partitions, once a service of ours has declared the topic. */
    int partitions(String topic) throws Exception {
      String record = "posthorn/topic/" + topic;
      client.subscribe(record, 0).waitForCompletion();
      Arrived found = arrived.poll(10, TimeUnit.SECONDS);
      if (found == null) throw new IllegalStateException("there is no topic " + topic + ": start a service of its own first");
      client.unsubscribe(record).waitForCompletion();
      return new ObjectMapper().readTree(found.message().getPayload()).get("partitions").asInt();
    }

    @Override
    public void close() throws MqttException {
      client.disconnect().waitForCompletion();
      client.close();
    }
  }

  @Override
  public void produce(String topic, List<Event> events, Stored stored) throws Exception {
    try (Link link = new Link("", 0)) {
      int partitions = link.partitions(topic);
      for (Event event : events) {
        int partition = Partition.of(event.key(), partitions);
        List<UserProperty> named = new ArrayList<>();
        event.attributes().forEach((name, value) -> named.add(new UserProperty(name, value)));
        event.headers().forEach((name, value) -> named.add(new UserProperty("h_" + name, value)));
        named.add(new UserProperty("traceparent", event.traceparent()));
        MqttProperties properties = new MqttProperties();
        properties.setContentType(event.contentType());
        properties.setUserProperties(named);
        MqttMessage message = new MqttMessage(event.body().getBytes(UTF_8), 1, false, properties);
        IMqttToken answer = link.client.publish(topic.replace('.', '/') + "/@" + partition, message);
        answer.waitForCompletion(30_000);
        int reason = answer.getReasonCodes()[0];
        // 16: nobody is subscribed, and so nobody has stored it.
        if (reason != 0) throw new IllegalStateException(event.attributes().get("id") + " was not stored: reason " + reason);
        stored.stored(event, partition);
      }
    }
  }

  /** With a session of its own name, for which the server queues while we are away. */
  @Override
  public void consume(String topic, String reader, int count, Runnable ready, Handler handler) throws Exception {
    int partitions;
    try (Link link = new Link("", 0)) {
      partitions = link.partitions(topic);
    }
    String path = topic.replace('.', '/');
    Map<String, Integer> partitionOf = new LinkedHashMap<>();
    partitionOf.put(path, 0);
    for (int partition = 0; partition < partitions; partition++) partitionOf.put(path + "/@" + partition, partition);
    try (Link link = new Link(reader, DAY)) {
      for (String place : partitionOf.keySet()) link.client.subscribe(place, 1).waitForCompletion();
      ready.run();
      for (; count > 0; count--) {
        Arrived next = link.arrived.take();
        MqttMessage message = next.message();
        Map<String, String> names = new LinkedHashMap<>();
        for (UserProperty property : message.getProperties().getUserProperties()) names.put(property.getKey(), property.getValue());
        String contentType = message.getProperties().getContentType();
        String body = new String(message.getPayload(), UTF_8);
        handler.handle(new Received(partitionOf.get(next.topic()), null, contentType, names, body).read("", "h_"));
        link.client.messageArrivedComplete(message.getId(), message.getQos());
      }
    }
  }

  private static MqttCallback intoQueue(BlockingQueue<Arrived> queue) {
    return new MqttCallback() {
      @Override
      public void messageArrived(String topic, MqttMessage message) {
        queue.add(new Arrived(topic, message));
      }

      @Override
      public void disconnected(MqttDisconnectResponse response) {}

      @Override
      public void mqttErrorOccurred(MqttException exception) {}

      @Override
      public void deliveryComplete(IMqttToken token) {}

      @Override
      public void connectComplete(boolean reconnect, String uri) {}

      @Override
      public void authPacketArrived(int reason, MqttProperties properties) {}
    };
  }
}
