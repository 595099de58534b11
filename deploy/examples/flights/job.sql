-- Flights of 2001 in the order of their departure. Paths are relative to the folder that the job is started in.
CREATE TABLE flights (
  `date`      TIMESTAMP(3),
  delay       BIGINT,          -- minutes; negative: early
  distance    BIGINT,          -- miles
  origin      STRING,
  destination STRING,
  WATERMARK FOR `date` AS `date` - INTERVAL '5' MINUTE
) WITH (
  'connector' = 'filesystem',
  'path' = 'data/flights-3m.parquet',
  'format' = 'parquet'
);

CREATE TABLE airports (
  iata      STRING,
  name      STRING,
  city      STRING,
  state     STRING,
  country   STRING,
  latitude  DOUBLE,
  longitude DOUBLE
) WITH (
  'connector' = 'filesystem',
  'path' = 'data/airports.csv',
  'format' = 'csv',
  'csv.header' = 'true'
);

CREATE TABLE hourly_delays (
  hour_start TIMESTAMP(3),
  airport    STRING,
  name       STRING,
  city       STRING,
  flights    BIGINT,
  delay_avg  DOUBLE,
  delay_max  BIGINT
) WITH (
  'connector' = 'filesystem',
  'path' = 'hourly_delays',
  'format' = 'json'
);

CREATE TABLE worst_routes (
  day_start   TIMESTAMP(3),
  place       BIGINT,
  origin      STRING,
  destination STRING,
  flights     BIGINT,
  delay_sum   BIGINT
) WITH (
  'connector' = 'filesystem',
  'path' = 'worst_routes',
  'format' = 'json'
);

-- Every hour and airport: how many flights left, and how late.
INSERT INTO hourly_delays
SELECT h.window_start, h.origin, a.name, a.city, h.flights, h.delay_avg, h.delay_max
FROM (
  SELECT window_start, window_end, origin, COUNT(*) AS flights, AVG(CAST(delay AS DOUBLE)) AS delay_avg,
         MAX(delay) AS delay_max
  FROM TABLE(TUMBLE(TABLE flights, DESCRIPTOR(`date`), INTERVAL '1' HOUR))
  GROUP BY window_start, window_end, origin
) AS h
JOIN airports AS a ON h.origin = a.iata;

-- Every day: the three routes that lost the most minutes.
INSERT INTO worst_routes
SELECT window_start, place, origin, destination, flights, delay_sum
FROM (
  SELECT *, ROW_NUMBER() OVER (
           PARTITION BY window_start, window_end ORDER BY delay_sum DESC, origin, destination) AS place
  FROM (
    SELECT window_start, window_end, origin, destination, COUNT(*) AS flights, SUM(delay) AS delay_sum
    FROM TABLE(TUMBLE(TABLE flights, DESCRIPTOR(`date`), INTERVAL '1' DAY))
    GROUP BY window_start, window_end, origin, destination
  )
)
WHERE place <= 3;
