package dataset

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/vibeflow/vibeflow/contract"
)

// The library allocates what a Parquet file says it needs: up to 4 GiB for the metadata and 2 GiB for a page. Files are
// untrusted, so what they say is looked at first.
const (
	maxFooter = 64 << 20
	maxPage   = 256 << 20
)

// checkFooter looks at the last eight bytes: the metadata's length and the magic.
func checkFooter(r io.ReaderAt, size int64) error {
	const tail = 8
	var last [tail]byte
	if size < int64(len(parquetMagic))+tail {
		return parquetTruncated()
	}
	if _, err := r.ReadAt(last[:], size-tail); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if !bytes.HasSuffix(last[:], parquetMagic) {
		return parquetTruncated()
	}
	length := int64(binary.LittleEndian.Uint32(last[:4]))
	if length > min(size-tail-int64(len(parquetMagic)), maxFooter) {
		return parquetFault(fmt.Errorf("it says that its metadata is %d bytes long", length))
	}
	return nil
}

func parquetTruncated() error {
	return contract.Errorf(contract.CodeBadData, "the Parquet file does not end as one: it was cut off").Mend("upload the whole file again")
}

// checkPages reads the page headers of a row group, and nothing else of it.
func checkPages(file *parquet.File, group int) error {
	columns := file.Metadata().RowGroups[group].Columns
	for i := range columns {
		if err := checkColumnPages(file, &columns[i].MetaData); err != nil {
			return err
		}
	}
	return nil
}

func checkColumnPages(file *parquet.File, column *format.ColumnMetaData) error {
	if column.Codec == format.Lz4Raw || column.Codec == format.Lz4 {
		// parquet-go v0.32 reads zeroes from some LZ4 pages, and allocates without end on a damaged one.
		return contract.Errorf(contract.CodeUnsupported, "the Parquet file is compressed with LZ4").Mend("write it with Snappy or Zstandard and upload it again")
	}
	at := column.DataPageOffset
	if first := column.DictionaryPageOffset; first > 0 && first < at {
		at = first
	}
	end := at + column.TotalCompressedSize
	if at < 0 || end < at || end > file.Size() {
		return parquetFault(errors.New("a column stands outside of the file"))
	}
	for at < end {
		header, length, err := pageHeader(io.NewSectionReader(file, at, end-at))
		if err != nil {
			return parquetFault(fmt.Errorf("reading a page header: %w", err))
		}
		at += length
		packed := int64(header.CompressedPageSize)
		if packed < 0 || packed > end-at || header.UncompressedPageSize > maxPage {
			return parquetFault(fmt.Errorf("it says that a page is %d bytes long (%d unpacked)", packed, header.UncompressedPageSize))
		}
		if err := checkUnpacked(io.NewSectionReader(file, at, packed), column.Codec, &header); err != nil {
			return err
		}
		at += packed
	}
	return nil
}

// checkUnpacked unpacks a page into nothing, to see that it is no larger than it says: the codecs themselves have no
// limit. Levels of the second page version stand unpacked before the values.
func checkUnpacked(page *io.SectionReader, codec format.CompressionCodec, header *format.PageHeader) error {
	declared := int64(header.UncompressedPageSize)
	if v2 := header.DataPageHeaderV2; v2.Valid {
		levels := int64(v2.V.RepetitionLevelsByteLength) + int64(v2.V.DefinitionLevelsByteLength)
		if levels < 0 || levels > page.Size() || v2.V.IsCompressed.Valid && !v2.V.IsCompressed.V {
			return nil // negative or too long: the library refuses it
		}
		page = io.NewSectionReader(page, levels, page.Size()-levels)
	}
	if page.Size() == 0 {
		return nil // a page of nulls
	}
	unpacked, err := unpackedSize(bufio.NewReader(page), codec, declared+1)
	if err != nil {
		return parquetFault(fmt.Errorf("unpacking a page: %w", err))
	}
	if unpacked > declared {
		return parquetFault(fmt.Errorf("a page is larger unpacked than the %d bytes it says", declared))
	}
	return nil
}

// unpackedSize counts the bytes that packed unpacks to, up to limit. Snappy says it in front, and its library believes that.
func unpackedSize(packed *bufio.Reader, codec format.CompressionCodec, limit int64) (int64, error) {
	var unpacked io.Reader
	switch codec {
	case format.Snappy:
		size, err := binary.ReadUvarint(packed)
		return int64(min(size, uint64(limit))), err
	case format.Gzip:
		r, err := gzip.NewReader(packed)
		if err != nil {
			return 0, err
		}
		unpacked = r
	case format.Brotli:
		unpacked = brotli.NewReader(packed)
	case format.Zstd:
		r, err := zstd.NewReader(packed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxPage))
		if err != nil {
			return 0, err
		}
		defer r.Close()
		unpacked = r
	default:
		return 0, nil
	}
	return io.Copy(io.Discard, io.LimitReader(unpacked, limit))
}

// pageHeader decodes the header at the start of r and tells its length.
func pageHeader(r *io.SectionReader) (header format.PageHeader, length int64, err error) {
	counted := &meter{r: r}
	buffered := bufio.NewReaderSize(counted, 1<<10)
	protocol := thrift.CompactProtocol{}
	err = thrift.NewDecoder(protocol.NewReader(buffered)).Decode(&header)
	return header, counted.read - int64(buffered.Buffered()), err
}
