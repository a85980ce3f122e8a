-- outbox: a range is marked as closed also when the next one cannot be made yet, because somebody holds a lock on the table.
CREATE OR REPLACE FUNCTION log.make_room(of_partition integer) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    clock log.clock;
BEGIN
    LOOP
        SELECT * INTO clock FROM log.clock c WHERE c.partition = of_partition;
        EXIT WHEN clock.position + clock.range_size / 2 <= clock.room;
        UPDATE log.ranges r SET state = 'closed'
            WHERE r.partition = of_partition AND r.state = 'open' AND r.last <= clock.position;
        IF clock.position <= clock.room THEN
            BEGIN
                LOCK TABLE log.events IN SHARE UPDATE EXCLUSIVE MODE NOWAIT;
            EXCEPTION WHEN lock_not_available THEN
                RETURN;
            END;
        END IF;
        PERFORM log.make_range(of_partition);
    END LOOP;
END $$;
