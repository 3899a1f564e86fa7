package polyglot;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.cloudevents.CloudEvent;
import io.cloudevents.core.builder.CloudEventBuilder;
import io.cloudevents.core.provider.EventFormatProvider;
import io.cloudevents.core.v1.CloudEventV1;
import io.cloudevents.jackson.JsonFormat;
import io.cloudevents.kafka.KafkaMessageFactory;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeaders;

/**
 * Gives what `consume` printed to the official SDK, lets it judge the event, and prints the event as the SDK writes it. Kafka's messages
 * are read by the SDK's own binding; for the others it has none, so its builder gets attribute by attribute.
 */
final class Check {
  private static final ObjectMapper json = new ObjectMapper();
  private static final Map<String, String> prefixes = Map.of("rabbitmq", "cloudEvents_", "redis", "ce_", "mqtt", "");

  static void run(String broker, List<String> lines) throws Exception {
    for (String line : lines) {
      JsonNode wire = json.readTree(line).get("wire");
      CloudEvent event = broker.equals("kafka") ? ofRecord(wire) : ofNames(wire, prefixes.get(broker));
      byte[] document = EventFormatProvider.getInstance().resolveFormat(JsonFormat.CONTENT_TYPE).serialize(event);
      Map<String, Object> printed = new LinkedHashMap<>();
      printed.put("event", json.readTree(document));
      printed.put("structured", Base64.getEncoder().encodeToString(document));
      Main.show(printed);
    }
  }

  private static CloudEvent ofRecord(JsonNode wire) {
    Headers headers = new RecordHeaders();
    wire.get("names").fields().forEachRemaining(each -> headers.add(each.getKey(), each.getValue().asText().getBytes(UTF_8)));
    return KafkaMessageFactory.createReader(headers, wire.get("body").asText().getBytes(UTF_8)).toEvent();
  }

  private static CloudEvent ofNames(JsonNode wire, String prefix) {
    CloudEventBuilder builder = CloudEventBuilder.v1();
    wire.get("names").fields().forEachRemaining(each -> {
      if (!each.getKey().startsWith(prefix)) return;
      String name = each.getKey().substring(prefix.length());
      // On MQTT, where attributes have no prefix, there are user properties that are none.
      if (name.matches(".*[_-].*|traceparent|tracestate|baggage")) return;
      if (!name.equals(CloudEventV1.SPECVERSION)) builder.withContextAttribute(name, each.getValue().asText());
      else if (!each.getValue().asText().equals("1.0")) throw new IllegalStateException("it is not 1.0 but " + each.getValue());
    });
    String contentType = wire.get("contentType").asText();
    return builder.withDataContentType(contentType).withData(wire.get("body").asText().getBytes(UTF_8)).build();
  }

  private Check() {}
}
