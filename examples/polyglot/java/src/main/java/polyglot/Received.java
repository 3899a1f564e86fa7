package polyglot;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/**
 * A message as a plain client sees it. `names` are its headers, fields or user properties, whatever the broker calls them; `key` is
 * Kafka's record key, which other brokers do not have; no `body` is the value null.
 */
record Received(int partition, String key, String contentType, Map<String, String> names, String body) {

  private static final ObjectMapper json = new ObjectMapper();
  private static final Set<String> transport = Set.of("traceparent", "tracestate", "baggage", "content-type");

  /** What `consume` prints. `attribute` and `header` are what the names of attributes and of application headers begin with. */
  Map<String, Object> read(String attribute, String header) throws IOException {
    Map<String, Object> printed = new LinkedHashMap<>();
    Map<String, String> headers = new LinkedHashMap<>();
    names.forEach((name, value) -> {
      if (transport.contains(name) || name.startsWith("ph-")) return; // of the transport
      if (!header.isEmpty() && name.startsWith(header)) headers.put(name.substring(header.length()), value);
      else if (name.startsWith(attribute)) printed.put(name.substring(attribute.length()), value);
      else headers.put(name, value);
    });
    printed.put("traceparent", names.get("traceparent")); // the trace to go on with
    printed.put("headers", headers);
    boolean isNull = body == null || "null".equals(names.get("ph-body")) || "null".equals(names.get("ph-null"));
    printed.put("value", isNull ? null : json.readTree(body));
    printed.put("partition", partition);
    Map<String, Object> wire = new LinkedHashMap<>();
    wire.put("key", key);
    wire.put("contentType", contentType);
    wire.put("names", names);
    wire.put("body", body);
    printed.put("wire", wire);
    return printed;
  }
}
