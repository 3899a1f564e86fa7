package polyglot;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * Orders in and out of any broker, with nothing but its usual client.
 *
 * <pre>
 * produce URL TOPIC                 orders on stdin, one JSON object a line; prints what was stored
 * consume URL TOPIC READER COUNT    prints that many messages, as JSON lines, in the name of READER
 * check BROKER                      reads such lines with the CloudEvents SDK, see Check
 * </pre>
 *
 * URL is redis://, amqp://, kafka:// or mqtt://.
 */
public final class Main {
  private static final ObjectMapper json = new ObjectMapper();
  private static final PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);

  private static Broker open(String url) throws Exception {
    return switch (url.substring(0, url.indexOf(':'))) {
      case "redis" -> new OnRedis(url);
      case "amqp" -> new OnRabbitmq(url);
      case "kafka" -> new OnKafka(url);
      case "mqtt" -> new OnMqtt(url);
      default -> throw new IllegalArgumentException("there is no broker for " + url);
    };
  }

  static void show(Object value) throws Exception {
    out.println(json.writeValueAsString(value));
  }

  private static List<String> lines() throws Exception {
    return new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8)).lines().toList();
  }

  public static void main(String[] args) throws Exception {
    switch (args[0]) {
      case "produce" -> {
        List<Event> events = new ArrayList<>();
        for (String line : lines()) events.add(Event.ofOrder(line, "/java"));
        open(args[1]).produce(args[2], events, (event, partition) -> show(event.sent(partition)));
      }
      case "consume" ->
          open(args[1]).consume(args[2], args[3], Integer.parseInt(args[4]), () -> System.err.println("ready"), Main::show);
      case "check" -> Check.run(args[1], lines());
      default -> throw new IllegalArgumentException("produce, consume or check, not " + args[0]);
    }
    System.exit(0); // clients may have threads left
  }
}
