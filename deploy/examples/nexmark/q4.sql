-- The average closing price per category.
CREATE TABLE result (category BIGINT, price BIGINT) WITH (${SINK});
INSERT INTO result
SELECT closed.category, AVG(closed.final)
FROM (
  SELECT a.id, a.category, MAX(b.price) AS final
  FROM auction AS a JOIN bid AS b ON a.id = b.auction
  WHERE b.`dateTime` BETWEEN a.`dateTime` AND a.expires
  GROUP BY a.id, a.category
) AS closed
GROUP BY closed.category;
