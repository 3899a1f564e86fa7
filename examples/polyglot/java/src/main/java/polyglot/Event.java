package polyglot;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.security.SecureRandom;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.Map;

/** What is to be sent: attributes by their CloudEvents names, and beside them what is no attribute. */
record Event(
    Map<String, String> attributes,
    Map<String, String> headers, // the application's
    String traceparent,
    String contentType,
    String key,
    String body) {

  private static final ObjectMapper json = new ObjectMapper();
  private static final SecureRandom random = new SecureRandom();

  /** One line of JSON as an event. The body is the line as it is. */
  static Event ofOrder(String line, String source) throws IOException {
    JsonNode order = json.readTree(line);
    String key = order.get("userId").asText();
    Map<String, String> attributes = new LinkedHashMap<>();
    attributes.put("specversion", "1.0");
    attributes.put("id", order.get("orderId").asText()); // the same when it is sent again: with the source it is the message's name
    attributes.put("source", source);
    attributes.put("type", "shop.order.placed");
    attributes.put("time", Instant.now().truncatedTo(ChronoUnit.MILLIS).toString());
    attributes.put("partitionkey", key); // what has to stay in order
    attributes.put("correlationid", "cart of " + attributes.get("id")); // an attribute of our own: it is kept
    // A new trace. Whoever has one already writes its trace id here, and a span id of its own.
    String traceparent = "00-" + hex(16) + "-" + hex(8) + "-01";
    return new Event(attributes, Map.of("tenant", "north"), traceparent, "application/json", key, line);
  }

  /** What `produce` prints of a message that is stored. */
  Map<String, Object> sent(int partition) {
    Map<String, Object> printed = new LinkedHashMap<>(attributes);
    printed.put("traceparent", traceparent);
    printed.put("headers", headers);
    printed.put("partition", partition);
    return printed;
  }

  private static String hex(int count) {
    byte[] bytes = new byte[count];
    random.nextBytes(bytes);
    return HexFormat.of().formatHex(bytes);
  }
}
