package dataset

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"

	"github.com/vibeflow/vibeflow/contract"
)

// parquetRows reads row groups one after the other and builds nested Values from the flat columns.
type parquetRows struct {
	file    *parquet.File
	fields  []parquet.Field
	leaves  int
	group   int
	rows    parquet.Rows
	batch   []parquet.Row
	have    int
	used    int
	columns [][]parquet.Value
	arena   arena
	row     Row
}

const parquetBatch = 32

func newParquetRows(r io.ReaderAt, size int64) (p *parquetRows, err error) {
	defer recoverParquet(&err)
	if err := checkFooter(r, size); err != nil {
		return nil, err
	}
	file, err := parquet.OpenFile(r, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, parquetFault(err)
	}
	p = &parquetRows{file: file, fields: file.Root().Fields(), batch: make([]parquet.Row, parquetBatch)}
	p.leaves = len(file.Schema().Columns())
	if p.leaves > MaxColumns {
		return nil, contract.Errorf(contract.CodeBadData, "the Parquet file has %d columns, more than %d", p.leaves, MaxColumns)
	}
	p.columns = make([][]parquet.Value, p.leaves)
	return p, nil
}

// recoverParquet: the library panics on some malformed files, which are input, not bugs of ours.
func recoverParquet(err *error) {
	if r := recover(); r != nil {
		*err = parquetFault(fmt.Errorf("%v", r))
	}
}

func parquetFault(err error) error {
	return contract.Errorf(contract.CodeBadData, "the Parquet file is broken: %w", err).
		Mend("write it again (for example with pandas' to_parquet) and upload the whole file")
}

func (p *parquetRows) next() (row *Row, err error) {
	defer recoverParquet(&err)
	for p.used == p.have {
		if err := p.fill(); err != nil {
			return nil, err
		}
	}
	flat := p.batch[p.used]
	if len(flat) > MaxValues {
		return nil, contract.Errorf(contract.CodeBadData, "row %d has more than %d values", p.row.Number+1, MaxValues).Mend("split it into several rows")
	}
	p.used++
	p.arena.reset()
	for i := range p.columns {
		p.columns[i] = nil
	}
	flat.Range(func(column int, values []parquet.Value) bool {
		p.columns[column] = values
		return true
	})
	number := p.row.Number + 1
	v, err := p.root()
	if err != nil {
		return nil, err
	}
	p.row = Row{Number: number, Value: v}
	if v.size() > MaxRowBytes {
		return nil, contract.Errorf(contract.CodeBadData, "row %d is larger than %d MiB", number, MaxRowBytes>>20).Mend("split it into several rows")
	}
	return &p.row, nil
}

// fill reads the next batch; io.EOF after the last row group.
func (p *parquetRows) fill() error {
	if p.rows == nil {
		groups := p.file.RowGroups()
		if p.group == len(groups) && p.row.Number < p.file.NumRows() {
			return parquetFault(fmt.Errorf("it says that it has %d rows, but holds %d", p.file.NumRows(), p.row.Number))
		}
		if p.group == len(groups) {
			return io.EOF
		}
		if err := checkPages(p.file, p.group); err != nil {
			return err
		}
		p.rows = groups[p.group].Rows()
		p.group++
	}
	n, err := p.rows.ReadRows(p.batch)
	p.have, p.used = n, 0
	if err == io.EOF { // itself: a fault may wrap it
		err = p.rows.Close()
		p.rows = nil
	}
	if err != nil {
		return parquetFault(err)
	}
	return nil
}

func (p *parquetRows) close() error {
	if p.rows == nil {
		return nil
	}
	return p.rows.Close()
}

func (p *parquetRows) root() (Value, error) {
	return p.object(p.fields, p.columns, levels{})
}

// levels are how deep in repeated and optional nodes the value under construction stands.
type levels struct{ rep, def, depth int }

// object builds an object; columns are the leaves under it, in schema order.
func (p *parquetRows) object(fields []parquet.Field, columns [][]parquet.Value, at levels) (Value, error) {
	if at.depth > MaxDepth {
		return Value{}, contract.Errorf(contract.CodeBadData, "columns are nested more than %d deep", MaxDepth)
	}
	mark := len(p.arena.stack)
	at.depth++
	for _, field := range fields {
		n := leafCount(field)
		member, err := p.field(field, columns[:n], at)
		if err != nil {
			return Value{}, err
		}
		member.Name = field.Name()
		p.arena.stack = append(p.arena.stack, member)
		columns = columns[n:]
	}
	return Value{Kind: Object, Items: p.arena.close(mark)}, nil
}

// field builds the value of a node: null, a list, or what the node holds.
func (p *parquetRows) field(node parquet.Node, columns [][]parquet.Value, at levels) (Value, error) {
	if node.Optional() {
		at.def++
		if first(columns).DefinitionLevel() < at.def {
			return Value{Kind: Null}, nil
		}
	}
	if node.Repeated() {
		return p.repeated(node, columns, at)
	}
	if node.Leaf() {
		return p.leaf(first(columns)), nil
	}
	if inner := listElement(node); inner != nil {
		return p.repeated(inner, columns, at)
	}
	return p.object(node.Fields(), columns, at)
}

// repeated builds a list: every leaf's values are cut where an element of this level begins.
func (p *parquetRows) repeated(node parquet.Node, columns [][]parquet.Value, at levels) (Value, error) {
	at.rep++
	at.def++
	mark := len(p.arena.stack)
	if first(columns).DefinitionLevel() < at.def {
		return Value{Kind: List}, nil
	}
	rest := make([][]parquet.Value, len(columns))
	copy(rest, columns)
	part := make([][]parquet.Value, len(columns))
	for len(rest[0]) > 0 {
		for i := range rest {
			part[i], rest[i] = cutElement(rest[i], at.rep)
		}
		element, err := p.element(node, part, at)
		if err != nil {
			return Value{}, err
		}
		p.arena.stack = append(p.arena.stack, element)
	}
	return Value{Kind: List, Items: p.arena.close(mark)}, nil
}

// element builds one element of a repeated node. The extra level of the standard list layout (list.element) is left out.
func (p *parquetRows) element(node parquet.Node, columns [][]parquet.Value, at levels) (Value, error) {
	if node.Leaf() {
		return p.leaf(first(columns)), nil
	}
	fields := node.Fields()
	if len(fields) == 1 && (fields[0].Name() == "element" || fields[0].Name() == "item" || fields[0].Name() == "array_element") {
		return p.field(fields[0], columns, at)
	}
	return p.object(fields, columns, at)
}

// listElement is the repeated node of a group that only wraps a list, nil for any other group.
func listElement(node parquet.Node) parquet.Node {
	fields := node.Fields()
	if len(fields) != 1 || !fields[0].Repeated() {
		return nil
	}
	switch fields[0].Name() {
	case "list", "bag", "array", "key_value":
		return fields[0]
	}
	return nil
}

func cutElement(values []parquet.Value, rep int) (element, rest []parquet.Value) {
	for i := 1; i < len(values); i++ {
		if values[i].RepetitionLevel() <= rep {
			return values[:i], values[i:]
		}
	}
	return values, nil
}

func first(columns [][]parquet.Value) parquet.Value {
	if len(columns) == 0 || len(columns[0]) == 0 {
		return parquet.NullValue()
	}
	return columns[0][0]
}

func leafCount(node parquet.Node) int {
	if node.Leaf() {
		return 1
	}
	n := 0
	for _, field := range node.Fields() {
		n += leafCount(field)
	}
	return n
}

func (p *parquetRows) leaf(v parquet.Value) Value {
	if v.IsNull() {
		return Value{Kind: Null}
	}
	switch v.Kind() {
	case parquet.ByteArray, parquet.FixedLenByteArray:
		text := v.ByteArray()
		if !utf8.Valid(text) {
			return Value{Kind: Binary}
		}
		return Value{Kind: String, Text: text}
	case parquet.Boolean:
		return Value{Kind: Bool, Text: strconv.AppendBool(nil, v.Boolean())}
	case parquet.Int32:
		return Value{Kind: Number, Text: strconv.AppendInt(nil, int64(v.Int32()), 10)}
	case parquet.Int64:
		return Value{Kind: Number, Text: strconv.AppendInt(nil, v.Int64(), 10)}
	case parquet.Float:
		return floatValue(float64(v.Float()))
	case parquet.Double:
		return floatValue(v.Double())
	default:
		return Value{Kind: String, Text: []byte(v.String())}
	}
}

// floatValue: JSON has no NaN; pandas writes it where a number is missing.
func floatValue(f float64) Value {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return Value{Kind: Null}
	}
	return Value{Kind: Number, Text: strconv.AppendFloat(nil, f, 'g', -1, 64)}
}
