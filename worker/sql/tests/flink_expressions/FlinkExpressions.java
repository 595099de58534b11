import java.nio.file.*;
import java.util.*;
import org.apache.flink.table.api.*;
import org.apache.flink.types.Row;
import org.apache.flink.util.CloseableIterator;

/**
 * FlinkExpressions ROWS.json IN.tsv OUT.tsv: asks Flink for the type and the value, in every row, of every expression (first
 * field of each line). A value is its CAST to STRING; `!` stands for a failed job, `!!` for a refused expression. Compile and
 * run it with the jars of Flink 2.3 (table planner, JSON, files) on the class path; why something failed lies in OUT.tsv.refused.
 */
public class FlinkExpressions {
  static final int GROUP = 20;
  static TableEnvironment t;

  public static void main(String[] a) throws Exception {
    t = TableEnvironment.create(EnvironmentSettings.inBatchMode());
    t.getConfig().set("table.local-time-zone", "UTC");
    t.getConfig().set("parallelism.default", "1");
    t.executeSql(
        "CREATE TABLE t (id INT, ti TINYINT, si SMALLINT, i INT, b BIGINT, f FLOAT, d DOUBLE, c DECIMAL(10, 2),"
            + " w DECIMAL(38, 18), n INT, o BOOLEAN, s STRING, sn STRING, sd STRING, st STRING, k STRING, y BYTES, dt DATE,"
            + " tm TIME, ts TIMESTAMP(3), t6 TIMESTAMP(6), tl TIMESTAMP_LTZ(3), a ARRAY<INT>, m MAP<STRING, INT>,"
            + " r ROW<x INT, y STRING>, j STRING)"
            + " WITH ('connector' = 'filesystem', 'path' = '" + Path.of(a[0]).toAbsolutePath() + "', 'format' = 'json')");
    List<String> expressions = new ArrayList<>();
    for (String line : Files.readAllLines(Path.of(a[1]))) if (!line.isBlank()) expressions.add(line.split("\t")[0]);
    StringBuilder out = new StringBuilder();
    List<String> valid = new ArrayList<>();
    Map<String, String[]> answers = new LinkedHashMap<>();
    Map<String, String> whys = new HashMap<>();
    for (String e : expressions) {
      answers.put(e, new String[] {"!!", "!!", "!!", "!!"});
      try {
        t.explainSql(query(List.of(e), ""));
        valid.add(e);
      } catch (Throwable problem) {
        Throwable root = problem;
        while (root.getCause() != null) root = root.getCause();
        whys.put(e, String.valueOf(root.getMessage()));
      }
    }
    for (int from = 0; from < valid.size(); from += GROUP) {
      List<String> group = valid.subList(from, Math.min(from + GROUP, valid.size()));
      try {
        ask(group, "", answers);
      } catch (Throwable together) {
        for (String e : group) {
          Arrays.fill(answers.get(e), "!");
          try {
            ask(List.of(e), "", answers);
          } catch (Throwable alone) {
            for (int id = 1; id <= 3; id++) {
              try {
                ask(List.of(e), " WHERE id = " + id, answers);
              } catch (Throwable inRow) {
                whys.put(e, String.valueOf(inRow.getMessage()));
              }
            }
          }
        }
      }
      System.err.println(from + " of " + valid.size());
    }
    answers.forEach((e, v) -> out.append(e).append('\t').append(String.join("\t", v)).append('\n'));
    Files.writeString(Path.of(a[2]), out);
    StringBuilder reasons = new StringBuilder();
    whys.forEach((e, why) -> reasons.append(e).append('\t').append(why.replace('\n', ' ')).append('\n'));
    Files.writeString(Path.of(a[2] + ".refused"), reasons);
    System.exit(0);
  }

  static String query(List<String> expressions, String where) {
    StringJoiner columns = new StringJoiner(", ");
    columns.add("id");
    for (String e : expressions) columns.add("TYPEOF(" + e + ")").add("CAST(" + e + " AS STRING)");
    return "SELECT " + columns + " FROM t" + where;
  }

  static void ask(List<String> expressions, String where, Map<String, String[]> answers) throws Exception {
    try (CloseableIterator<Row> found = t.executeSql(query(expressions, where)).collect()) {
      while (found.hasNext()) {
        Row row = found.next();
        int id = (Integer) row.getField(0);
        for (int i = 0; i < expressions.size(); i++) {
          String[] answer = answers.get(expressions.get(i));
          answer[0] = String.valueOf(row.getField(1 + 2 * i));
          Object value = row.getField(2 + 2 * i);
          answer[id] = value == null ? "NULL" : "'" + value.toString().replace("\t", "\\t").replace("\n", "\\n") + "'";
        }
      }
    }
  }
}
