import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Collection;
import java.util.HexFormat;
import java.util.Map;

import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.message.ApiMessageType.ListenerType;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.protocol.types.ArrayOf;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.CompactArrayOf;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;
import org.apache.kafka.common.record.CompressionType;
import org.apache.kafka.common.record.MemoryRecords;
import org.apache.kafka.common.record.MemoryRecordsBuilder;
import org.apache.kafka.common.record.MutableRecordBatch;
import org.apache.kafka.common.record.Record;
import org.apache.kafka.common.record.TimestampType;

/**
 * Answers questions about Kafka's own message classes, one line each:
 * again CLASS VERSION HEX, schema CLASS VERSION, defaults CLASS, records HEX, build COMPRESSION COUNT, apis, errors.
 */
public final class Oracle {
    private static final String[] PACKAGES = {
        "org.apache.kafka.common.message.", "org.apache.kafka.common.metadata.",
        "org.apache.kafka.coordinator.group.generated.", "org.apache.kafka.coordinator.transaction.generated.",
        "org.apache.kafka.coordinator.share.generated.",
    };

    public static void main(String[] args) throws Exception {
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        for (String line; (line = in.readLine()) != null; ) {
            String answer;
            try {
                answer = answer(line.split(" ", -1));
            } catch (Throwable e) {
                answer = "error " + e.toString().replace('\n', ' ');
            }
            out.println(answer);
        }
        out.flush();
    }

    private static String answer(String[] words) throws Exception {
        switch (words[0]) {
            case "again": return again(find(words[1]), Short.parseShort(words[2]), words[3]);
            case "schema": {
                Schema[] all = (Schema[]) find(words[1]).getField("SCHEMAS").get(null);
                return schema(all[Integer.parseInt(words[2])]);
            }
            case "defaults": {
                var text = new StringBuilder();
                defaults(find(words[1]), "", text);
                return text.toString();
            }
            case "records": return records(words[1]);
            case "build": return build(Integer.parseInt(words[1]), Integer.parseInt(words[2]));
            case "apis": return apis();
            case "errors": return errors();
            default: throw new IllegalArgumentException(words[0]);
        }
    }

    private static Class<?> find(String name) throws ClassNotFoundException {
        for (String p : PACKAGES) {
            for (String suffix : new String[] {"", "Data"}) {
                try {
                    return Class.forName(p + name + suffix);
                } catch (ClassNotFoundException e) {
                    // The next one, then.
                }
            }
        }
        throw new ClassNotFoundException(name);
    }

    private static String again(Class<?> type, short version, String hex) throws Exception {
        var message = (Message) type.getConstructor().newInstance();
        var buffer = ByteBuffer.wrap(HexFormat.of().parseHex(hex));
        message.read(new ByteBufferAccessor(buffer), version);
        if (buffer.hasRemaining()) {
            return "error " + buffer.remaining() + " bytes follow";
        }
        ByteBuffer written = MessageUtil.toByteBufferAccessor(message, version).buffer();
        byte[] bytes = new byte[written.remaining()];
        written.get(bytes);
        return HexFormat.of().formatHex(bytes);
    }

    private static String schema(Type type) {
        if (type instanceof Schema s) {
            var text = new StringBuilder("{");
            for (BoundField f : s.fields()) {
                if (f.def.type instanceof TaggedFields t) {
                    text.append("tagged;");
                    for (Map.Entry<Integer, org.apache.kafka.common.protocol.types.Field> e : t.fields().entrySet()) {
                        text.append(e.getKey()).append('=').append(plain(e.getValue().name)).append(':');
                        text.append(schema(e.getValue().type)).append(';');
                    }
                } else {
                    text.append(plain(f.def.name)).append(':').append(schema(f.def.type)).append(';');
                }
            }
            return text.append('}').toString();
        }
        boolean list = type instanceof ArrayOf || type instanceof CompactArrayOf;
        String name = list ? "[" + schema(type.arrayElementType().get()) + "]"
            : type.toString().replace("COMPACT_", "").replace("NULLABLE_", "");
        return name + (type.isNullable() && !name.equals("RECORDS") ? "?" : "");
    }

    private static String plain(String name) {
        return name.replace("_", "").toLowerCase();
    }

    private static void defaults(Class<?> type, String path, StringBuilder text) throws Exception {
        Object fresh = type.getConstructor().newInstance();
        for (Field f : type.getDeclaredFields()) {
            boolean link = (f.getName().equals("next") || f.getName().equals("prev")) && f.getType() == int.class;
            if (Modifier.isStatic(f.getModifiers()) || f.getName().startsWith("_") || link) {
                continue;
            }
            f.setAccessible(true);
            Object value = f.get(fresh);
            String at = path + plain(f.getName());
            Class<?> of = part(f);
            boolean whole = of != null || value instanceof Collection;
            text.append(at).append('=').append(value == null ? "null" : whole ? "" : show(value)).append(';');
            if (of != null) {
                defaults(of, at + ".", text);
            }
        }
    }

    /** The structure that a field holds, or holds a list of. */
    private static Class<?> part(Field f) throws ClassNotFoundException {
        Class<?> of = f.getType();
        if (of.getName().endsWith("Collection") && of.getName().contains("$")) {
            of = Class.forName(of.getName().substring(0, of.getName().length() - "Collection".length()));
        } else if (Collection.class.isAssignableFrom(of)) {
            of = (Class<?>) ((ParameterizedType) f.getGenericType()).getActualTypeArguments()[0];
        }
        return Message.class.isAssignableFrom(of) ? of : null;
    }

    private static String show(Object value) {
        boolean plain = value instanceof Number || value instanceof Boolean;
        return plain ? value.toString() : "";
    }

    /** What a batch holds. */
    private static String records(String hex) {
        var text = new StringBuilder();
        var all = MemoryRecords.readableRecords(ByteBuffer.wrap(HexFormat.of().parseHex(hex)));
        for (MutableRecordBatch b : all.batches()) {
            b.ensureValid();
            text.append(b.baseOffset()).append(' ').append(b.lastOffset()).append(' ');
            text.append(b.partitionLeaderEpoch()).append(' ').append(b.compressionType().id).append(' ');
            text.append(b.timestampType().id == 1).append(' ').append(b.isTransactional()).append(' ');
            text.append(b.isControlBatch()).append(' ').append(b.maxTimestamp()).append(' ');
            text.append(b.producerId()).append(' ').append(b.producerEpoch()).append(' ').append(b.baseSequence());
            text.append(' ').append(b.lastSequence()).append(' ').append(b.countOrNull()).append(';');
            for (Record r : b) {
                text.append(r.offset()).append(' ').append(r.timestamp()).append(' ').append(hex(r.key()));
                text.append(' ').append(hex(r.value()));
                for (Header h : r.headers()) {
                    text.append(' ').append(HexFormat.of().formatHex(h.key().getBytes(StandardCharsets.UTF_8)));
                    text.append('=').append(h.value() == null ? "-" : HexFormat.of().formatHex(h.value()));
                }
                text.append(';');
            }
        }
        return text.toString();
    }

    private static String hex(ByteBuffer bytes) {
        if (bytes == null) {
            return "-";
        }
        byte[] copy = new byte[bytes.remaining()];
        bytes.get(copy);
        return HexFormat.of().formatHex(copy);
    }

    /** A batch at offset 5 of records whose values grow. */
    private static String build(int compression, int count) {
        var type = CompressionType.forId(compression);
        MemoryRecordsBuilder builder = MemoryRecords.builder(
            ByteBuffer.allocate(1024), Compression.of(type).build(), TimestampType.CREATE_TIME, 5L);
        for (int i = 0; i < count; i++) {
            builder.append(1000L + i, ("key-" + i).getBytes(), "value".repeat(10 * i).getBytes());
        }
        return hex(builder.build().buffer());
    }

    private static String apis() {
        var text = new StringBuilder();
        for (ApiKeys api : ApiKeys.values()) {
            if (!api.hasValidVersion()) {
                continue;
            }
            text.append(api.id).append(' ').append(api.name).append(' ').append(api.oldestVersion()).append(' ');
            short latest = api.latestVersion(false);
            text.append(latest).append(' ');
            text.append(api.inScope(ListenerType.BROKER)).append(' ').append(api.inScope(ListenerType.CONTROLLER));
            for (short v = api.oldestVersion(); v <= latest; v++) {
                text.append(' ').append(api.requestHeaderVersion(v)).append(api.responseHeaderVersion(v));
            }
            text.append(';');
        }
        return text.toString();
    }

    private static String errors() {
        var text = new StringBuilder();
        for (Errors e : Errors.values()) {
            boolean again = e.exception() instanceof org.apache.kafka.common.errors.RetriableException;
            text.append(e.code()).append(' ').append(e.name()).append(' ').append(again).append(';');
        }
        return text.toString();
    }
}
