package polyglot;

import java.util.List;

/** What each of the four files gives. */
interface Broker {
  /** Stores events and tells the partition of each. */
  void produce(String topic, List<Event> events, Stored stored) throws Exception;

  /** Handles `count` messages. `ready` is called when what is sent from then on comes. */
  void consume(String topic, String reader, int count, Runnable ready, Handler handler) throws Exception;

  interface Stored {
    void stored(Event event, int partition) throws Exception;
  }

  interface Handler {
    void handle(java.util.Map<String, Object> message) throws Exception;
  }
}
