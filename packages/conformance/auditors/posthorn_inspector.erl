%% Eyes and hands inside a RabbitMQ node, for the auditor: what AMQP cannot say, and what the server's own tools say late or only by
%% disturbing a queue. It is compiled and loaded into the node of a test, listens on the loopback interface, and answers JSON in
%% packets of four bytes of length. No queue is touched: messages are read from the log that the node writes anyway.
-module(posthorn_inspector).
-behaviour(gen_event).
-export([start/2, loop/2, init/1, handle_event/2, handle_call/2, handle_info/2, terminate/2, code_change/3]).

%% Listens on the port, or with 0 on a free one, and answers it. Who knows the token may ask.
start(Token, Wanted) ->
    catch gen_event:delete_handler(rabbit_event, ?MODULE, again),
    case whereis(?MODULE) of
        undefined -> ok;
        Old -> exit(Old, kill)
    end,
    catch ets:delete(?MODULE),
    Self = self(),
    spawn(fun() ->
        register(?MODULE, self()),
        ets:new(?MODULE, [named_table, public, ordered_set]),
        gen_event:add_handler(rabbit_event, ?MODULE, []),
        {ok, Listener} = gen_tcp:listen(Wanted, [binary, {packet, 4}, {active, false}, {ip, {127, 0, 0, 1}}, {reuseaddr, true}]),
        {ok, Port} = inet:port(Listener),
        spawn_link(fun keep/0),
        Self ! {port, Port},
        accept(Listener, Token)
    end),
    receive {port, Port} -> Port after 10000 -> exit(timeout) end.

accept(Listener, Token) ->
    {ok, Socket} = gen_tcp:accept(Listener),
    Pid = spawn(?MODULE, loop, [Socket, Token]),
    ok = gen_tcp:controlling_process(Socket, Pid),
    Pid ! go,
    accept(Listener, Token).

loop(Socket, Token) ->
    receive go -> ok end,
    {ok, Token} = gen_tcp:recv(Socket, 0, 10000),
    serve(Socket).

serve(Socket) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, Request} ->
            Answer =
                try
                    booted(),
                    [Name | Args] = rabbit_json:decode(Request),
                    #{value => ask(Name, Args)}
                catch
                    _:Reason:Stack -> #{error => text(io_lib:format("~p ~0p", [Reason, Stack]))}
                end,
            ok = gen_tcp:send(Socket, rabbit_json:encode(Answer)),
            serve(Socket);
        {error, _} ->
            ok
    end.

%% A node that starts answers before it has found its exchanges and queues.
booted() ->
    case rabbit:is_running() of
        true -> ok;
        false -> timer:sleep(20), booted()
    end.

text(Chars) -> unicode:characters_to_binary(Chars).
name(Kind, VHost, Name) -> rabbit_misc:r(VHost, Kind, Name).

%% Questions

ask(<<"queues">>, [VHost]) ->
    [Name || {resource, _, _, Name} <- rabbit_amqqueue:list_names(VHost)];
ask(<<"exchanges">>, [VHost]) ->
    [Name || {resource, V, _, Name} <- rabbit_exchange:list_names(), V =:= VHost];
ask(<<"counts">>, [VHost, Names]) ->
    [counts(VHost, Name) || Name <- Names];
ask(<<"messages">>, [VHost, Name]) ->
    messages(queue(VHost, Name));
ask(<<"consumers">>, [VHost, Name]) ->
    consumers(queue(VHost, Name));
ask(<<"connections">>, []) ->
    [connection(Pid) || Pid <- rabbit_networking:connections()];
ask(<<"settles">>, [VHost, Names]) ->
    keep_now(),
    Rows = ets:match_object(?MODULE, {{queue, '_', '_'}, '_', '_', '_'}),
    [[lists:sum([element(At, Row) || Row = {{queue, _, {resource, V, queue, Q}}, _, _, _} <- Rows, V =:= VHost, Q =:= Name])
      || At <- [2, 3, 4]] || Name <- Names];
ask(<<"events">>, []) ->
    maps:from_list([{Event, Count} || {{event, Event}, Count} <- ets:tab2list(?MODULE)]);
ask(<<"traffic">>, []) ->
    maps:fold(fun(_, Counters, All) -> maps:fold(fun(K, V, Sum) -> maps:update_with(K, fun(Old) -> Old + V end, V, Sum) end, All, Counters) end,
        #{}, rabbit_global_counters:overview());
%% Orders
ask(<<"permissions">>, [User, VHost, Configure, Write, Read]) ->
    ok = rabbit_auth_backend_internal:set_permissions(User, VHost, Configure, Write, Read, <<"auditor">>),
    %% Channels remember what was allowed; so they would for as long as they live.
    Forget = fun(State) -> erase(permission_cache), erase(topic_permission_cache), State end,
    [catch sys:replace_state(Pid, Forget, 5000) || Pid <- rabbit_channel:list()],
    true;
ask(<<"password">>, [User, Password]) ->
    ok = rabbit_auth_backend_internal:change_password(User, Password, <<"auditor">>),
    true;
%% Full: more memory is in use than it says it may. Returns when publishers are stopped, or let go on.
ask(<<"fill">>, [Full]) ->
    ok = vm_memory_monitor:set_vm_memory_high_watermark(case Full of true -> 0.0000001; false -> 0.4 end),
    alarmed(Full, 100);
ask(<<"close">>, [Part]) ->
    Found = [Pid || Pid <- rabbit_networking:connections(), [_, Name] <- [connection(Pid)], binary:match(Name, Part) =/= nomatch],
    [rabbit_networking:close_connection(Pid, "expelled") || Pid <- Found],
    length(Found);
%% The names of queues are written to the disk only every half second: a younger queue does not survive a kill.
ask(<<"sync">>, []) ->
    [dets:sync(Table) || Table <- dets:all()],
    true;
ask(<<"empty">>, [VHost, Users]) ->
    ok = rabbit_vhost:delete(VHost, <<"auditor">>),
    rabbit_vhost:add(VHost, <<"auditor">>),
    [ok = rabbit_auth_backend_internal:set_permissions(User, VHost, <<".*">>, <<".*">>, <<".*">>, <<"auditor">>) || User <- Users],
    true;
ask(<<"delete">>, [VHost, Names]) ->
    [begin
         {ok, Q} = rabbit_amqqueue:lookup(name(queue, VHost, Name)),
         rabbit_amqqueue:delete(Q, false, false, <<"auditor">>)
     end || Name <- Names, rabbit_amqqueue:exists(name(queue, VHost, Name))],
    true;
ask(<<"delete_exchanges">>, [VHost, Names]) ->
    [rabbit_exchange:delete(name(exchange, VHost, Name), false, <<"auditor">>) || Name <- Names],
    true.

alarmed(Full, Times) ->
    case rabbit_alarm:get_alarms() =/= [] of
        Full -> true;
        _ when Times > 0 -> timer:sleep(50), alarmed(Full, Times - 1)
    end.

queue(VHost, Name) ->
    {ok, Q} = rabbit_amqqueue:lookup(name(queue, VHost, Name)),
    Q.

state(Q) -> query(Q, fun(State) -> State end).

%% A question to a queue that has no leader yet is lost, so it is asked again.
query(Q, Fun) -> query(Q, Fun, 30).
query(Q, Fun, Times) ->
    case catch ra:leader_query(amqqueue:get_pid(Q), Fun, 1000) of
        {ok, {_, Answer}, _} ->
            Answer;
        Problem when Times =:= 0 ->
            exit(Problem);
        _ ->
            timer:sleep(100),
            query(Q, Fun, Times - 1)
    end.

counts(VHost, Name) ->
    case rabbit_amqqueue:lookup(name(queue, VHost, Name)) of
        {error, not_found} ->
            null;
        {ok, Q} ->
            case amqqueue:get_type(Q) of
                rabbit_quorum_queue ->
                    query(Q, fun(S) ->
                        Total = case rabbit_fifo:query_messages_total(S) of Number when is_integer(Number) -> Number end,
                        Out = rabbit_fifo:query_messages_checked_out(S),
                        [max(Total - Out, rabbit_fifo:query_messages_ready(S)), Out]
                    end);
                _ ->
                    [{_, Ready}, {_, Out}] = rabbit_amqqueue:info(Q, [messages_ready, messages_unacknowledged]),
                    [Ready, Out]
            end
    end.

consumers(Q) ->
    List = case amqqueue:get_type(Q) of
        rabbit_quorum_queue ->
            [{Pid, Active} || {Pid, _, _, _, Active, _, _, _} <- maps:values(rabbit_fifo:query_consumers(state(Q)))];
        _ ->
            [{Pid, Active} || {Pid, _, _, _, Active, _, _, _} <- rabbit_amqqueue:consumers(Q)]
    end,
    [[connection_of(Pid), Active] || {Pid, Active} <- List].

connection_of(Channel) ->
    try
        [{connection, Pid}] = rabbit_channel:info(Channel, [connection]),
        [_, Name] = connection(Pid),
        Name
    catch
        _:_ -> null
    end.

connection(Pid) ->
    try rabbit_networking:connection_info(Pid, [user, client_properties]) of
        [{user, User}, {client_properties, Properties}] ->
            case lists:keyfind(<<"connection_name">>, 1, Properties) of
                {_, longstr, Name} -> [user(User), Name];
                false -> [user(User), <<>>]
            end
    catch
        _:_ -> [<<>>, <<>>]
    end.

user(User) when is_binary(User) -> User;
user(_) -> <<>>.

%% Messages as they lie in the log, oldest first, whoever has them now.

messages(Q) ->
    Refs = lists:usort(refs(state(Q), [])),
    Pid = element(1, amqqueue:get_pid(Q)),
    {_, Member} = sys:get_state(Pid, 30000),
    try
        fetched(Refs, Member)
    catch
        %% A file that the queue's own process has open is read by that process alone.
        _:_ -> inside(Pid, fun(Own) -> fetched(Refs, Own) end)
    end.

fetched(Refs, Member) ->
    Log = log_of(Member),
    %% What left the log since is settled or has gone on.
    [entry(Index, Header, Command) || {Index, Header} <- Refs, {{_, _, Command}, _} <- [ra_log:fetch(Index, Log)]].

%% What the function says of the state of a queue's process, when that process calls it.
inside(Pid, Fun) ->
    {Self, Tag} = {self(), make_ref()},
    sys:replace_state(
        Pid,
        fun({_, Member} = State) ->
            Self ! {Tag, Fun(Member)},
            State
        end,
        30000
    ),
    receive {Tag, Found} -> Found after 30000 -> exit(timeout) end.

%% Wherever in the state a message is: its index in the log, and what was noted of it.
refs([Index | [Size | Expiry]], Found) when is_integer(Index), is_integer(Size), is_integer(Expiry) ->
    [{Index, #{size => Size, expiry => Expiry}} | Found];
refs([Index | Header], Found) when is_integer(Index), is_integer(Header); is_integer(Index), is_map(Header) ->
    [{Index, Header} | Found];
refs([Head | Tail], Found) ->
    refs(Tail, refs(Head, Found));
refs(Tuple, Found) when is_tuple(Tuple) ->
    refs(tuple_to_list(Tuple), Found);
refs(Map, Found) when is_map(Map) ->
    maps:fold(fun(_, Value, All) -> refs(Value, All) end, Found, Map);
refs(_, Found) ->
    Found.

log_of(Map) when is_map(Map), is_map_key(log, Map) -> maps:get(log, Map);
log_of(Tuple) when is_tuple(Tuple) -> log_of(tuple_to_list(Tuple));
log_of([Head | Tail]) ->
    case log_of(Head) of
        none -> log_of(Tail);
        Log -> Log
    end;
log_of(_) -> none.

entry(Index, Header, Command) ->
    {'$usr', _, Order, _} = Command,
    Message = element(tuple_size(Order), Order),
    {basic_message, {resource, _, _, Exchange}, Keys, Content, _, _} = Message,
    {content, _, Properties, _, _, Fragments} = rabbit_binary_parser:ensure_content_decoded(Content),
    ['P_basic', ContentType, _, Headers, Mode, _, _, _, _, Id, Timestamp, Type | _] = tuple_to_list(Properties),
    #{index => Index, exchange => Exchange, keys => Keys, content_type => value(ContentType), mode => value(Mode),
      id => value(Id), timestamp => value(Timestamp), type => value(Type),
      expiry => case Header of #{expiry := At} -> At; _ -> null end,
      headers => [[base64:encode(Name), atom_to_binary(Kind), header(Kind, Value)] || {Name, Kind, Value} <- list(Headers)],
      body => base64:encode(iolist_to_binary(lists:reverse(Fragments)))}.

list(undefined) -> [];
list(Headers) -> Headers.
value(undefined) -> null;
value(Value) -> Value.

header(_, Value) when is_binary(Value) -> base64:encode(Value);
header(_, Value) when is_number(Value); is_boolean(Value) -> Value;
header(_, Value) -> base64:encode(text(io_lib:format("~0p", [Value]))).

%% What channels did with queues, kept beyond the channels' lives.

keep() ->
    keep_now(),
    timer:sleep(500),
    keep().

keep_now() ->
    [case ets:lookup(?MODULE, {queue, Channel, Name}) of
         [{_, D, R, A}] when D > Deliver + NoAck; R > Redeliver; A > Ack -> ok;
         _ -> ets:insert(?MODULE, {{queue, Channel, Name}, Deliver + NoAck, Redeliver, Ack})
     end || {{Channel, Name}, _, _, Deliver, NoAck, Redeliver, Ack, _, _} <- ets:tab2list(channel_queue_metrics)].

init(_) -> {ok, []}.
handle_event(Event, State) when is_tuple(Event) ->
    catch ets:update_counter(?MODULE, {event, element(2, Event)}, 1, {{event, element(2, Event)}, 0}),
    {ok, State};
handle_event(_, State) -> {ok, State}.
handle_call(_, State) -> {ok, ok, State}.
handle_info(_, State) -> {ok, State}.
terminate(_, _) -> ok.
code_change(_, State, _) -> {ok, State}.
