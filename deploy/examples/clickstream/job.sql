-- Clicks and orders from Kafka; what is popular goes back to Kafka, who bought after clicking to parquet files in a bucket.
CREATE TABLE clicks (
  user_id BIGINT,
  page STRING,
  `at` TIMESTAMP(3),
  WATERMARK FOR `at` AS `at` - INTERVAL '5' SECOND
) WITH (
  'connector' = 'kafka',
  'topic' = 'clicks',
  'properties.bootstrap.servers' = '${KAFKA}',
  'scan.startup.mode' = 'earliest-offset',
  'scan.bounded.mode' = 'latest-offset',
  'format' = 'json'
);

CREATE TABLE orders (
  user_id BIGINT,
  amount DECIMAL(10, 2),
  `at` TIMESTAMP(3),
  WATERMARK FOR `at` AS `at` - INTERVAL '5' SECOND
) WITH (
  'connector' = 'kafka',
  'topic' = 'orders',
  'properties.bootstrap.servers' = '${KAFKA}',
  'scan.startup.mode' = 'earliest-offset',
  'scan.bounded.mode' = 'latest-offset',
  'format' = 'json'
);

CREATE TABLE top_pages (
  window_end TIMESTAMP(3),
  place BIGINT,
  page STRING,
  clicks BIGINT
) WITH (
  'connector' = 'kafka',
  'topic' = 'top_pages',
  'properties.bootstrap.servers' = '${KAFKA}',
  'key.format' = 'raw',
  'key.fields' = 'page',
  'value.format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once'
);

CREATE TABLE conversions (
  window_start TIMESTAMP(3),
  user_id BIGINT,
  clicks BIGINT,
  spent DECIMAL(38, 2)
) WITH (
  'connector' = 'filesystem',
  'path' = 's3://${BUCKET}/conversions',
  'format' = 'parquet'
);

CREATE VIEW clicks_per_user AS
SELECT window_start, window_end, user_id, COUNT(*) AS clicks
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(`at`), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, user_id;

CREATE VIEW orders_per_user AS
SELECT window_start, window_end, user_id, SUM(amount) AS spent
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(`at`), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, user_id;

INSERT INTO top_pages
SELECT window_end, place, page, clicks
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY clicks DESC, page) AS place
  FROM (
    SELECT window_start, window_end, page, COUNT(*) AS clicks
    FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(`at`), INTERVAL '1' MINUTE))
    GROUP BY window_start, window_end, page
  )
)
WHERE place <= 3;

INSERT INTO conversions
SELECT c.window_start, c.user_id, c.clicks, o.spent
FROM clicks_per_user AS c
JOIN orders_per_user AS o
  ON c.user_id = o.user_id AND c.window_start = o.window_start AND c.window_end = o.window_end;
